"""The relay: carries certified runs between lanes and drives calls to their end. It can delay, never forge."""
