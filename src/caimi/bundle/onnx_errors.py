"""Refusals of models (spec 15 §7). `where` names the place inside the model.

* ModelRefused
  + MalformedModel: not an ONNX model, or one whose parts contradict each other
  + ModelTooLarge: beyond a limit
    - ModelFileTooLarge: beyond what a model in one file can be
  + UnsupportedVersion: IR version or operator set
  + CustomOperator: an operator outside the standard domains
  + ExternalData: tensor data outside the model's own bytes and its bundle's data files
  + UnsupportedFeature: a part of ONNX that is not served
  + BadTensor: dimensions, element type or amount of data of a tensor
  + BadInterface: inputs and outputs that cannot be served
  + SignatureMismatch: the manifest announces other inputs or outputs
"""

from __future__ import annotations

from caimi.bundle.errors import BundleError
from caimi.types.failure import Blame

__all__ = [
    "BadInterface",
    "BadTensor",
    "CustomOperator",
    "ExternalData",
    "MalformedModel",
    "ModelFileTooLarge",
    "ModelRefused",
    "ModelTooLarge",
    "SignatureMismatch",
    "UnsupportedFeature",
    "UnsupportedVersion",
]


class ModelRefused(BundleError):
    """Root: the model was refused before any runtime saw it."""

    blame = Blame.PUBLISHER
    hint = "export the model again"

    def __init__(self, problem: str, *, where: str = "model") -> None:
        super().__init__(f"{where}: {problem}")
        self.where = where


class MalformedModel(ModelRefused):
    """The bytes are not one well-formed ONNX model."""

    hint = "export the model again; onnx.checker.check_model may say more"


class ModelTooLarge(ModelRefused):
    """The model is beyond a limit of the inspection."""

    hint = "use a smaller model, or raise the host's inspection limits if you trust the publisher"


class ModelFileTooLarge(ModelTooLarge):
    """The model's file is larger than protocol buffers, and so any runtime, can hold: 2 GiB."""

    hint = (
        "keep the constants in data files (onnx.save_model(model, path, save_as_external_data=True, "
        "location='model.data')) and publish the folder"
    )


class UnsupportedVersion(ModelRefused):
    """IR version or operator set outside the supported range."""

    hint = "export with IR version 10 or lower, ai.onnx opset 17 to 21 and ai.onnx.ml 3 to 5"


class CustomOperator(ModelRefused):
    """An operator that the standard domains do not define."""

    hint = "export with standard operators of the domains ai.onnx and ai.onnx.ml only"


class ExternalData(ModelRefused):
    """A tensor whose data is outside the model file, and not in a data file of the bundle as spec 15 §7 allows."""

    hint = (
        "save all tensors inside the model, or in files beside it (onnx.save_model(model, path, "
        "save_as_external_data=True, location='model.data')) and publish their folder"
    )


class UnsupportedFeature(ModelRefused):
    """A part of ONNX that is not served: see spec 15 §7 for the list."""

    hint = "inline functions with onnx.inliner, remove training data, strings, sparse tensors, sequences and loops"


class BadTensor(ModelRefused):
    """A tensor with negative or too large dimensions, a refused element type, or another amount of data."""


class BadInterface(ModelRefused):
    """The graph's inputs or outputs cannot be served."""

    hint = "declare at least one input and one output, each a tensor with a name, an element type and a shape"


class SignatureMismatch(ModelRefused):
    """The model's inputs or outputs differ from those in the manifest."""

    hint = "write the manifest with the signature that inspect_model returns"
