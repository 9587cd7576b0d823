"""The nets of TF-Slim (2016 to 2018) as Keras models, and what their checkpoints call the variables of each."""
