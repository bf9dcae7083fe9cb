"""What a finished search says, read-only over its history."""
