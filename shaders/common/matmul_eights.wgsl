// The operands of a product, eight elements at a time: N, K and the rows of x in multiples of 8.
@group(0) @binding(1) var<storage, read> x: array<Act8>;
@group(0) @binding(2) var<storage, read> weight: array<Weight8>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<u64>>;
@group(0) @binding(4) var<storage, read> residual: array<Act8>;
@group(0) @binding(5) var<storage, read> residual_rest: array<Act8>;
@group(0) @binding(6) var<storage, read_write> y: array<Act8>;

alias RowBase = u32;
alias Step = u32;

// Where a row of x begins. Rows beyond the last repeat it: their results are not stored.
fn row_base(row: u32) -> RowBase {
    return min(row, params.m - 1u) * (params.x_stride4 / 2u) + params.x_offset4 / 2u;
}

fn step_at(k: u32) -> Step {
    return k;
}

fn load_row(base: RowBase, step: Step) -> Act8 {
    return x[base + step];
}

fn low_row(v: Act8) -> vec4<f32> {
    return low_acts(v);
}

fn high_row(v: Act8) -> vec4<f32> {
    return high_acts(v);
}

// The bias of eight columns, zero if there is none.
fn bias8(eight: u32) -> vec4<u64> {
    if (params.has_bias != 0u) {
        return bias[eight];
    }
    return vec4<u64>();
}

// Their scale, one if there is none.
fn scale8(eight: u32) -> vec4<u64> {
    if (params.has_bias == 2u) {
        return bias[params.n4 / 2u + eight];
    }
    return eight_floats(vec4<f32>(1.0), vec4<f32>(1.0));
}

// Eight columns of a row, from their sum to y: finished as `finish` does, or as it is where it is one of several.
fn put8(slice: u32, row: u32, eight: u32, scale: vec4<u64>, bias: vec4<u64>, sum: vec4<u64>) {
    let n8 = params.n4 / 2u;
    if (params.slices > 1u) {
        let at = ((slice * params.m + row) * n8 + eight) * ACTS_OF_F32X8;
        y[at] = f32x8_first(low_floats(sum), high_floats(sum));
        y[at + ACTS_OF_F32X8 - 1u] = f32x8_last(low_floats(sum), high_floats(sum));
        return;
    }
    var low = activate(params.activation, low_floats(sum) * low_floats(scale) + low_floats(bias));
    var high = activate(params.activation, high_floats(sum) * high_floats(scale) + high_floats(bias));
    if (params.has_residual != 0u) {
        var r = Act8();
        if (row < params.split) {
            r = residual[row * n8 + eight];
        } else {
            r = residual_rest[(row - params.split + params.rest_row) * n8 + eight];
        }
        low += low_acts(r);
        high += high_acts(r);
    }
    if (params.relu_last != 0u) {
        low = relu(low);
        high = relu(high);
    }
    y[row * n8 + eight] = eight_acts(low, high);
}
