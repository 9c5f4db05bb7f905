"""Training augmentation as in Darknet: geometry, colour, blur, noise, MixUp, CutMix and mosaic."""
