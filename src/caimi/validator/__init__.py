"""The validator: follows lanes to finality and attests ranges of their events (spec 20 §1)."""
