// y = token row + position row, for packed ragged texts.
//
// tokens [T]: (row of the compact table, position in its own text); table [U, C]: the rows in use, gathered on the
// CPU (the whole table of ViT-L is 145 MiB and would not fit one binding); positions [context, C] -> y [T, C].
// One thread per four channels.
//
// include: common/act_{f32,f16}.wgsl
// include: common/index.wgsl

struct Params {
    count4: u32,     // T C / 4
    width4: u32,     // C / 4
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> tokens: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read> table: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> positions: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> y: array<Act4>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let index = linear_workgroup(group, groups) * 64u + lane;
    if (index >= params.count4) {
        return;
    }
    let token = tokens[index / params.width4];
    let c = index % params.width4;
    y[index] = narrow_act(table[token.x * params.width4 + c] + positions[token.y * params.width4 + c]);
}
