"""A method as data with all its options, its network and decision, a trained model that answers."""
