// Four columns of a row of a product, from their sum to y: the kernel's `params`, `bias`, `residual`, `residual_rest`, `y`.
fn finish(row: u32, column: u32, sum: vec4<f32>) {
    var v = sum;
    if (params.has_bias == 2u) {
        v *= bias[params.n4 + column];
    }
    if (params.has_bias != 0u) {
        v += bias[column];
    }
    v = activate(params.activation, v);
    if (params.has_residual != 0u) {
        if (row < params.split) {
            v += widen_act(residual[row * params.n4 + column]);
        } else {
            v += widen_act(residual_rest[(row - params.split + params.rest_row) * params.n4 + column]);
        }
    }
    if (params.relu_last != 0u) {
        v = relu(v);
    }
    y[row * params.n4 + column] = narrow_act(v);
}
