"""The byte layer of a publication: ciphertext, blocks, bundle, manifest and model inspection (spec 15). Pure."""
