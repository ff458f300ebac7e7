"""What is learned: Keras 3 layers, losses, metrics and models. The package imports nothing."""
