// y = activation(x w^T + bias) + residual, tiles of 64 x 64 through workgroup memory
//
// 256 threads make 64 rows by 64 columns, 4 x 4 each, in steps of 16 along K. The next step's vectors are on their way
// from memory into registers while this one's are used, and go into the other of two buffers: one barrier a step.
//
// A tile lies in vectors along K, so that a thread reads 4 + 4 of them for 64 multiply-adds. `place` mixes their order: the 16
// threads that read columns side by side, and the 8 that write vectors side by side, meet different banks.
//
// family: matmul
// include: common/act_{f32,f16}.wgsl
// include: common/weight_{f32,f16,i8}.wgsl
// include: common/signed_bytes.wgsl
// include: common/matmul_operands.wgsl
// include: common/matmul_fours.wgsl
// include: common/matmul_finish.wgsl
// include: common/tile.wgsl
// include: common/gelu.wgsl

var<workgroup> tile: array<vec4<f32>, 1024>;   // [2 buffers, x and w, 4 steps of K, 64 rows or columns]: 16 KiB

const W: u32 = 256u;       // from a tile of x to that of w
const OTHER: u32 = 512u;   // from one buffer to the other

// Of row or column 4 quad + i at step k.
fn place(k: u32, quad: u32, i: u32) -> u32 {
    return k * 64u + i * 16u + (quad ^ (k * 2u + (i & 1u)));
}

fn x_vector(base: u32, k: u32, end: u32) -> vec4<f32> {
    if (k < end) {
        return widen_act(x[base + k]);
    }
    return vec4<f32>(0.0);
}

fn weight_vector(base: u32, k: u32, end: u32) -> vec4<f32> {
    if (k < end) {
        return widen_weight(weight[base + k]);
    }
    return vec4<f32>(0.0);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let across = thread % 16u;
    let down = thread / 16u;
    // What this thread carries: one vector of x and one of w a step.
    let step = thread % 4u;
    let line = thread / 4u;
    let mine = place(step, line / 4u, line % 4u);
    let x_at = x_base(group.y * 64u + line);
    let w_at = min(group.x * 64u + line, 4u * params.n4 - 1u) * params.k4;
    let end = k_end(group.z);
    var acc0 = vec4<f32>(0.0);
    var acc1 = vec4<f32>(0.0);
    var acc2 = vec4<f32>(0.0);
    var acc3 = vec4<f32>(0.0);

    var buffer = 0u;
    tile[mine] = x_vector(x_at, k_first(group.z) + step, end);
    tile[W + mine] = weight_vector(w_at, k_first(group.z) + step, end);
    workgroupBarrier();
    for (var k = k_first(group.z); k < end; k += 4u) {
        let next_x = x_vector(x_at, k + 4u + step, end);
        let next_w = weight_vector(w_at, k + 4u + step, end);
        let b0 = transpose(mat4x4<f32>(
            tile[buffer + W + place(0u, across, 0u)], tile[buffer + W + place(0u, across, 1u)],
            tile[buffer + W + place(0u, across, 2u)], tile[buffer + W + place(0u, across, 3u)],
        ));
        acc0 = step4(tile[buffer + place(0u, down, 0u)], b0, acc0);
        acc1 = step4(tile[buffer + place(0u, down, 1u)], b0, acc1);
        acc2 = step4(tile[buffer + place(0u, down, 2u)], b0, acc2);
        acc3 = step4(tile[buffer + place(0u, down, 3u)], b0, acc3);
        let b1 = transpose(mat4x4<f32>(
            tile[buffer + W + place(1u, across, 0u)], tile[buffer + W + place(1u, across, 1u)],
            tile[buffer + W + place(1u, across, 2u)], tile[buffer + W + place(1u, across, 3u)],
        ));
        acc0 = step4(tile[buffer + place(1u, down, 0u)], b1, acc0);
        acc1 = step4(tile[buffer + place(1u, down, 1u)], b1, acc1);
        acc2 = step4(tile[buffer + place(1u, down, 2u)], b1, acc2);
        acc3 = step4(tile[buffer + place(1u, down, 3u)], b1, acc3);
        let b2 = transpose(mat4x4<f32>(
            tile[buffer + W + place(2u, across, 0u)], tile[buffer + W + place(2u, across, 1u)],
            tile[buffer + W + place(2u, across, 2u)], tile[buffer + W + place(2u, across, 3u)],
        ));
        acc0 = step4(tile[buffer + place(2u, down, 0u)], b2, acc0);
        acc1 = step4(tile[buffer + place(2u, down, 1u)], b2, acc1);
        acc2 = step4(tile[buffer + place(2u, down, 2u)], b2, acc2);
        acc3 = step4(tile[buffer + place(2u, down, 3u)], b2, acc3);
        let b3 = transpose(mat4x4<f32>(
            tile[buffer + W + place(3u, across, 0u)], tile[buffer + W + place(3u, across, 1u)],
            tile[buffer + W + place(3u, across, 2u)], tile[buffer + W + place(3u, across, 3u)],
        ));
        acc0 = step4(tile[buffer + place(3u, down, 0u)], b3, acc0);
        acc1 = step4(tile[buffer + place(3u, down, 1u)], b3, acc1);
        acc2 = step4(tile[buffer + place(3u, down, 2u)], b3, acc2);
        acc3 = step4(tile[buffer + place(3u, down, 3u)], b3, acc3);
        buffer = OTHER - buffer;
        tile[buffer + mine] = next_x;
        tile[buffer + W + mine] = next_w;
        workgroupBarrier();
    }

    // Everyone has left the tiles: their memory now takes what each thread made, to be finished in a loop.
    let parked = thread * 4u;
    tile[parked] = acc0;
    tile[parked + 1u] = acc1;
    tile[parked + 2u] = acc2;
    tile[parked + 3u] = acc3;
    let column = group.x * 16u + across;
    let row = group.y * 64u + down * 4u;
    for (var i = 0u; i < 4u; i += 1u) {
        if (row + i < params.m && column < params.n4) {
            put(group.z, row + i, column, tile[parked + i]);
        }
    }
}
