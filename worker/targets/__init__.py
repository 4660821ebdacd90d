"""Compiling for devices that are not there: TPUs by chip count, and what a program asks of them."""
