"""Many records -> one trained model for each lead set."""
