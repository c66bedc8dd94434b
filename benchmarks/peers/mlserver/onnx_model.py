"""MLServer's model: onnxruntime with the threads of our runner. Runs in MLServer's environment, not in ours."""

# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

_THREADS = 2


class OnnxModel(MLModel):
    """Takes `image`, gives `logits`."""

    async def load(self) -> bool:
        """Open the file that model-settings.json names."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = _THREADS
        self._session = onnxruntime.InferenceSession(
            self.settings.parameters.uri, sess_options=options, providers=["CPUExecutionProvider"]
        )
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """One batch, which MLServer may have put together."""
        images = NumpyCodec.decode_input(payload.inputs[0])
        (logits,) = self._session.run(["logits"], {"image": images})
        output = NumpyCodec.encode_output(name="logits", payload=logits)
        return InferenceResponse(id=payload.id, model_name=self.name, outputs=[output])
