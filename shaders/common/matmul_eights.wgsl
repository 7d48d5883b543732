// The two sides of a product, loaded eight elements along K at a time: K, and the rows of x, in multiples of 8.
@group(0) @binding(1) var<storage, read> x: array<Act8>;
@group(0) @binding(2) var<storage, read> weight: array<Weight8>;

// Eight steps along K of four columns; [i] of each half holds the columns' weights of one step.
struct Columns8 {
    low: mat4x4<f32>,
    high: mat4x4<f32>,
}

// Where a row of x begins. Rows beyond the last repeat it: their results are not stored.
fn x_base(row: u32) -> u32 {
    return min(row, params.m - 1u) * (params.x_stride4 / 2u) + params.x_offset4 / 2u;
}

// Weights [N, K] of columns 4 column .. + 3, of which each row has k8 eights, at the k-th of them.
// Columns beyond the last repeat it: their results are not stored.
fn columns8(column: u32, k8: u32, k: u32) -> Columns8 {
    let at = min(column, params.n4 - 1u) * 4u * k8 + k;
    let w0 = weight[at];
    let w1 = weight[at + k8];
    let w2 = weight[at + 2u * k8];
    let w3 = weight[at + 3u * k8];
    return Columns8(
        transpose(mat4x4<f32>(low_weights(w0), low_weights(w1), low_weights(w2), low_weights(w3))),
        transpose(mat4x4<f32>(high_weights(w0), high_weights(w1), high_weights(w2), high_weights(w3))),
    );
}

// acc + the eight steps `low`, `high` of a row times those of four columns.
fn step8(low: vec4<f32>, high: vec4<f32>, b: Columns8, acc: vec4<f32>) -> vec4<f32> {
    return step4(high, b.high, step4(low, b.low, acc));
}
