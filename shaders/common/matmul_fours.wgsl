// The two sides of a product, loaded four elements along K at a time.
@group(0) @binding(1) var<storage, read> x: array<Act4>;
@group(0) @binding(2) var<storage, read> weight: array<Weight4>;

// Where a row of x begins. Rows beyond the last repeat it: their results are not stored.
fn x_base(row: u32) -> u32 {
    return min(row, params.m - 1u) * params.x_stride4 + params.x_offset4;
}
