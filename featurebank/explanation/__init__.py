"""Stage: shows which parts of an image a run relies on: class activation maps, Grad-CAM and occlusion."""
