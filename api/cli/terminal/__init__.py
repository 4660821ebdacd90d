"""What commands share: output, options, exit codes, the controller's client."""
