// Weights [N, K] of columns 4 column .. + 3 at K-step k, transposed: [i] holds the four columns' weight for K = 4 k + i.
// Reads the kernel's `weight`; n4 = N / 4, k4 = K / 4. Columns beyond the last repeat it: their results are not stored.
fn columns(column: u32, n4: u32, k: u32, k4: u32) -> mat4x4<f32> {
    let at = min(column, n4 - 1u) * 4u * k4 + k;
    return transpose(mat4x4<f32>(
        widen_weight(weight[at]),
        widen_weight(weight[at + k4]),
        widen_weight(weight[at + 2u * k4]),
        widen_weight(weight[at + 3u * k4]),
    ));
}
