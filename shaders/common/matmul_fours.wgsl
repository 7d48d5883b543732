// The operands of a product, four elements at a time.
@group(0) @binding(1) var<storage, read> x: array<Act4>;
@group(0) @binding(2) var<storage, read> weight: array<Weight4>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> residual: array<Act4>;
@group(0) @binding(5) var<storage, read> residual_rest: array<Act4>;
@group(0) @binding(6) var<storage, read_write> y: array<Act4>;

// Where a row of x begins. Rows beyond the last repeat it: their results are not stored.
fn x_base(row: u32) -> u32 {
    return min(row, params.m - 1u) * params.x_stride4 + params.x_offset4;
}

// The sum of four columns of a row: finished, or as it is where it is one of several.
fn put(slice: u32, row: u32, column: u32, sum: vec4<f32>) {
    if (params.slices == 1u) {
        finish(row, column, sum);
        return;
    }
    let at = ((slice * params.m + row) * params.n4 + column) * ACTS_OF_F32X4;
    y[at] = f32x4_low(sum);
    y[at + ACTS_OF_F32X4 - 1u] = f32x4_high(sum);
}
