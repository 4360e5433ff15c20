"""An artifact's ``model.onnx`` on MLServer: put this beside ``model-settings.json``, then ``mlserver start .``."""

import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class OnnxModel(MLModel):
    """Windows (n, W, F) in, errors (n, T, F) out."""

    async def load(self) -> bool:
        """Open the file that ``parameters.uri`` names."""
        self._session = onnxruntime.InferenceSession(self.settings.parameters.uri)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """One batch."""
        windows = NumpyCodec.decode_input(payload.inputs[0])
        (errors,) = self._session.run(["errors"], {"windows": windows.astype("float32", copy=False)})
        outputs = [NumpyCodec.encode_output("errors", errors)]
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=outputs)
