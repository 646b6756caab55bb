"""How grafts come to say "not sure": `calibration` gathers what a model file stores, `embedding` adds the features to a
model's outputs, and `verdicts` applies both to predictions. The laws are in the room `featurebank.certainty`.

Open `calibration` first.
"""
