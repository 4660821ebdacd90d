"""What people read: pages of trials, ancestors, fronts, activity."""
