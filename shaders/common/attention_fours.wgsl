// What attention attends to, loaded four channels at a time.
@group(0) @binding(1) var<storage, read> qkv: array<Act4>;
@group(0) @binding(2) var<storage, read> values: array<Act4>;

fn load(at: u32) -> vec4<f32> {
    return widen_act(qkv[at]);
}

fn load_value(at: u32) -> vec4<f32> {
    return widen_act(values[at]);
}
