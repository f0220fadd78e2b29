"""From a folder of records to one trained model for each lead set."""
