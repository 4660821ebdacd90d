"""One file a change of the schema, oldest first; never edited once released."""
