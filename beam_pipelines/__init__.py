"""Raw media to records. Workers never import TensorFlow."""
