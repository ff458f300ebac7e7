"""What is learned: Keras 3 layers, losses, metrics and models. Importing the package imports nothing."""
