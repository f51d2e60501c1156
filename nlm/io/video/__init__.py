"""Videos in and out, stream by stream, through libav (PyAV); `containers` alone does without."""
