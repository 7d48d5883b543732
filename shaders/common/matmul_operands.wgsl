// What every kernel of the matmul family reads and writes: y = activation(x w^T + bias) + residual. How many elements one
// load or store takes is the kernel's affair: `matmul_fours`, `matmul_eights`.
//
// x [M, K] (or a column range of a wider matrix), w [N, K] as linear layers store it, bias [N], or [2, N] with the scales of int8 columns,
// residual rows < `split` from `residual`, the others from `residual_rest` -> y [M, N]. K and N multiples of 4.
//
// The split serves CLIP Surgery: one product with twice the rows projects both attention outputs of a dual block;
// its upper half continues the ordinary stream, its lower half the new one, whose previous value lies elsewhere.
//
// With `slices` > 1, K is cut: workgroup_id.z is the slice, y is [slices, M, N] in f32, its sums are raw, and
// `matmul_reduce` adds them up and finishes.
struct Params {
    m: u32,
    k4: u32,             // K / 4
    n4: u32,             // N / 4
    x_stride4: u32,      // row length of the matrix that holds x, / 4
    x_offset4: u32,      // first column of x in it, / 4
    activation: u32,     // as in `activate`
    has_bias: u32,       // 0 no, 1 yes, 2 followed by the columns' scales, [2, N]
    has_residual: u32,
    split: u32,          // rows below come from `residual`
    rest_row: u32,       // row of `residual_rest` that belongs to row `split`
    relu_last: u32,      // ReLU behind the residual: the end of a ResNet's bottleneck
    lanes_n: u32,        // threads side by side in N, for the kernel that lets this vary: 1, 2, 4 or 8
    slices: u32,         // of K
    slice4: u32,         // K of one slice / 4
}

@group(0) @binding(0) var<uniform> params: Params;

// Steps of 4 along K that belong to a slice.
fn k_first(slice: u32) -> u32 {
    return slice * params.slice4;
}

fn k_end(slice: u32) -> u32 {
    return min((slice + 1u) * params.slice4, params.k4);
}
