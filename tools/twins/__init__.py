"""The zoo's models once more, in torch and Keras, to be timed beside ours."""
