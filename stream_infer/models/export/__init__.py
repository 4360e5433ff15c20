"""A model in another form (quantised, half precision, for a GPU's compiler), measured against what it was made of."""
