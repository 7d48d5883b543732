// y = activation(x w^T + bias) + residual, tiles of 128 x 128 through workgroup memory
//
// 256 threads make 128 rows by 128 columns, 8 x 8 each, in steps of 8 along K; two buffers and one barrier a step, as in
// `matmul_workgroup_64`. A thread's rows and columns are two runs of four, 64 apart, so that threads side by side
// read and write memory side by side. It reads 8 + 8 vectors for 256 multiply-adds: twice the work per read of the smaller
// tile, for products with enough of them to fill a device.
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

var<workgroup> tile: array<vec4<f32>, 1024>;   // [2 buffers, x and w, 2 steps of K, 128 rows or columns]: 16 KiB

const W: u32 = 256u;       // from a tile of x to that of w
const OTHER: u32 = 512u;   // from one buffer to the other

// Of row or column 64 half + 4 quad + i at step k.
fn place(k: u32, half: u32, quad: u32, i: u32) -> u32 {
    return k * 128u + half * 64u + i * 16u + (quad ^ (k * 4u + i));
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

// Four columns of w at step k of a buffer, transposed.
fn four_columns(w: u32, k: u32, half: u32, quad: u32) -> mat4x4<f32> {
    return transpose(mat4x4<f32>(
        tile[w + place(k, half, quad, 0u)], tile[w + place(k, half, quad, 1u)],
        tile[w + place(k, half, quad, 2u)], tile[w + place(k, half, quad, 3u)],
    ));
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let across = thread % 16u;
    let down = thread / 16u;
    // What this thread carries: one vector of x and one of w a step.
    let step = thread % 2u;
    let line = thread / 2u;
    let mine = place(step, line / 64u, line / 4u % 16u, line % 4u);
    let x_at = x_base(group.y * 128u + line);
    let w_at = min(group.x * 128u + line, 4u * params.n4 - 1u) * params.k4;
    let end = k_end(group.z);
    var acc0_0 = vec4<f32>(0.0); var acc0_1 = vec4<f32>(0.0);
    var acc1_0 = vec4<f32>(0.0); var acc1_1 = vec4<f32>(0.0);
    var acc2_0 = vec4<f32>(0.0); var acc2_1 = vec4<f32>(0.0);
    var acc3_0 = vec4<f32>(0.0); var acc3_1 = vec4<f32>(0.0);
    var acc4_0 = vec4<f32>(0.0); var acc4_1 = vec4<f32>(0.0);
    var acc5_0 = vec4<f32>(0.0); var acc5_1 = vec4<f32>(0.0);
    var acc6_0 = vec4<f32>(0.0); var acc6_1 = vec4<f32>(0.0);
    var acc7_0 = vec4<f32>(0.0); var acc7_1 = vec4<f32>(0.0);

    var buffer = 0u;
    tile[mine] = x_vector(x_at, k_first(group.z) + step, end);
    tile[W + mine] = weight_vector(w_at, k_first(group.z) + step, end);
    workgroupBarrier();
    for (var k = k_first(group.z); k < end; k += 2u) {
        let next_x = x_vector(x_at, k + 2u + step, end);
        let next_w = weight_vector(w_at, k + 2u + step, end);
        let b0_0 = four_columns(buffer + W, 0u, 0u, across);
        let b0_1 = four_columns(buffer + W, 0u, 1u, across);
        let a0_0 = tile[buffer + place(0u, 0u, down, 0u)];
        acc0_0 = step4(a0_0, b0_0, acc0_0); acc0_1 = step4(a0_0, b0_1, acc0_1);
        let a0_1 = tile[buffer + place(0u, 0u, down, 1u)];
        acc1_0 = step4(a0_1, b0_0, acc1_0); acc1_1 = step4(a0_1, b0_1, acc1_1);
        let a0_2 = tile[buffer + place(0u, 0u, down, 2u)];
        acc2_0 = step4(a0_2, b0_0, acc2_0); acc2_1 = step4(a0_2, b0_1, acc2_1);
        let a0_3 = tile[buffer + place(0u, 0u, down, 3u)];
        acc3_0 = step4(a0_3, b0_0, acc3_0); acc3_1 = step4(a0_3, b0_1, acc3_1);
        let a0_4 = tile[buffer + place(0u, 1u, down, 0u)];
        acc4_0 = step4(a0_4, b0_0, acc4_0); acc4_1 = step4(a0_4, b0_1, acc4_1);
        let a0_5 = tile[buffer + place(0u, 1u, down, 1u)];
        acc5_0 = step4(a0_5, b0_0, acc5_0); acc5_1 = step4(a0_5, b0_1, acc5_1);
        let a0_6 = tile[buffer + place(0u, 1u, down, 2u)];
        acc6_0 = step4(a0_6, b0_0, acc6_0); acc6_1 = step4(a0_6, b0_1, acc6_1);
        let a0_7 = tile[buffer + place(0u, 1u, down, 3u)];
        acc7_0 = step4(a0_7, b0_0, acc7_0); acc7_1 = step4(a0_7, b0_1, acc7_1);
        let b1_0 = four_columns(buffer + W, 1u, 0u, across);
        let b1_1 = four_columns(buffer + W, 1u, 1u, across);
        let a1_0 = tile[buffer + place(1u, 0u, down, 0u)];
        acc0_0 = step4(a1_0, b1_0, acc0_0); acc0_1 = step4(a1_0, b1_1, acc0_1);
        let a1_1 = tile[buffer + place(1u, 0u, down, 1u)];
        acc1_0 = step4(a1_1, b1_0, acc1_0); acc1_1 = step4(a1_1, b1_1, acc1_1);
        let a1_2 = tile[buffer + place(1u, 0u, down, 2u)];
        acc2_0 = step4(a1_2, b1_0, acc2_0); acc2_1 = step4(a1_2, b1_1, acc2_1);
        let a1_3 = tile[buffer + place(1u, 0u, down, 3u)];
        acc3_0 = step4(a1_3, b1_0, acc3_0); acc3_1 = step4(a1_3, b1_1, acc3_1);
        let a1_4 = tile[buffer + place(1u, 1u, down, 0u)];
        acc4_0 = step4(a1_4, b1_0, acc4_0); acc4_1 = step4(a1_4, b1_1, acc4_1);
        let a1_5 = tile[buffer + place(1u, 1u, down, 1u)];
        acc5_0 = step4(a1_5, b1_0, acc5_0); acc5_1 = step4(a1_5, b1_1, acc5_1);
        let a1_6 = tile[buffer + place(1u, 1u, down, 2u)];
        acc6_0 = step4(a1_6, b1_0, acc6_0); acc6_1 = step4(a1_6, b1_1, acc6_1);
        let a1_7 = tile[buffer + place(1u, 1u, down, 3u)];
        acc7_0 = step4(a1_7, b1_0, acc7_0); acc7_1 = step4(a1_7, b1_1, acc7_1);
        buffer = OTHER - buffer;
        tile[buffer + mine] = next_x;
        tile[buffer + W + mine] = next_w;
        workgroupBarrier();
    }

    // Everyone has left the tiles: two rows at a time, their memory takes what each thread made, to be finished in a loop.
    let column = group.x * 32u + across;
    let row = group.y * 128u + down * 4u;
    park(thread, acc0_0, acc0_1, acc1_0, acc1_1);
    finish_two_rows(group.z, thread, row + 0u, column);
    park(thread, acc2_0, acc2_1, acc3_0, acc3_1);
    finish_two_rows(group.z, thread, row + 2u, column);
    park(thread, acc4_0, acc4_1, acc5_0, acc5_1);
    finish_two_rows(group.z, thread, row + 64u, column);
    park(thread, acc6_0, acc6_1, acc7_0, acc7_1);
    finish_two_rows(group.z, thread, row + 66u, column);
}

fn park(thread: u32, v0: vec4<f32>, v1: vec4<f32>, v2: vec4<f32>, v3: vec4<f32>) {
    tile[thread * 4u] = v0;
    tile[thread * 4u + 1u] = v1;
    tile[thread * 4u + 2u] = v2;
    tile[thread * 4u + 3u] = v3;
}

fn finish_two_rows(slice: u32, thread: u32, first_row: u32, first_column: u32) {
    for (var i = 0u; i < 4u; i += 1u) {
        let row = first_row + i / 2u;
        let column = first_column + i % 2u * 16u;
        if (row < params.m && column < params.n4) {
            put(slice, row, column, tile[thread * 4u + i]);
        }
    }
}
