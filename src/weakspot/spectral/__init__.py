"""A large convolution by way of frequencies: the numbers of the plain layer, from a fraction of its multiplications.

**Why frequencies.** The plain sum over a 15 × 15 kernel takes 225 multiplications for every cell and pair of channels.
Fourier-transformed, map and kernel are multiplied frequency by frequency instead: one multiplication each.

**Why tiles.** The kernel must be transformed to as many frequencies as what it is multiplied with. A tile of 20 to 60
cells a side keeps that spectrum small, and one spectrum serves all tiles. A tile answers only where the kernel lies
wholly inside it, so neighbours overlap by the kernel's side less one, and their answers join without a gap. Signal
processing calls this overlap-save. Tiles this small need no fast transform: a product with a constant matrix does it.

**The steps**, the same in `graph` (as ONNX nodes) and in `layer` (as torch products):
1. cut the map into tiles;
2. transform their rows, then their columns;
3. multiply by the kernel's spectrum, frequency by frequency, summing over the input channels;
4. transform back, columns first, computing only the cells where a tile answers;
5. join the tiles, and cut off what reaches past the map.

`tiles` chooses how to cut, `transforms` holds the matrices. Inspection uses `graph.in_spectral_form` and no torch;
the network uses `layer.LargeKernelConv`.
"""
