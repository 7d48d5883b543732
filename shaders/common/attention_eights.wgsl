// What attention attends to, loaded eight channels at a time: heads in multiples of 8.
@group(0) @binding(1) var<storage, read> qkv: array<Act8>;
@group(0) @binding(2) var<storage, read> values: array<Act8>;

// Eight channels of four rows; [i] of each half is a row's.
fn four_rows(v0: Act8, v1: Act8, v2: Act8, v3: Act8) -> Eight4 {
    return Eight4(
        mat4x4<f32>(low_acts(v0), low_acts(v1), low_acts(v2), low_acts(v3)),
        mat4x4<f32>(high_acts(v0), high_acts(v1), high_acts(v2), high_acts(v3)),
    );
}

// The same with [i] of each half the rows' i-th channel: four keys, beside the channels of a query.
fn four_keys_at(at: vec4<u32>) -> Eight4 {
    let r = four_rows(qkv[at.x], qkv[at.y], qkv[at.z], qkv[at.w]);
    return Eight4(transpose(r.low), transpose(r.high));
}

fn four_values_at(at: vec4<u32>) -> Eight4 {
    return four_rows(values[at.x], values[at.y], values[at.z], values[at.w]);
}
