"""Networks of OpenVINO, from files of ONNX (.onnx) and OpenVINO (.xml): run as they are. Open `network` first.

`model_file` reads and checks a file, `input_form` puts the preprocessing in front, `graph` lists the nodes with the
meaning of their axes (`axes`) and their work (`work`), and `features` finds the map, the tokens and the pooled vector.
"""
