"""The controller: REST, authentication, event streams, the dashboard and the command line."""
