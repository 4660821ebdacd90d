"""What a trial runs on: its devices, hosts, memory and compiler."""
