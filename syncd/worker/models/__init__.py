"""The models: each module one kind, `registry.load` the door. Nothing here imports torch before a model is loaded."""
