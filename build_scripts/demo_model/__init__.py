"""The recipe of the demo model: training text (facts, questions, dialogues), network (model, wkv7), training (batches, train), export and evaluation."""
