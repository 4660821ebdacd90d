"""What a trial is: statuses, measurements, the messages of its lease, and its reward."""
