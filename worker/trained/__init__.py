"""What a trained model is for: judged by whole splits, and made to write."""
