"""Networks: linen modules, one architecture a file, all called as `net(x, c_noise, cond)`. No losses, no data."""
