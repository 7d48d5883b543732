// Workgroups beyond 65,535 are folded into y (the host does the same sum in `ops::fold`).
fn linear_workgroup(id: vec3<u32>, count: vec3<u32>) -> u32 {
    return id.y * count.x + id.x;
}
