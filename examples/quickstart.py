"""A walker of your own: run this file and open videos/rl-video-episode-0.mp4. Then change the program and run it again."""

import gymnasium as gym

import sodarace_gym

PROGRAM = """
def make_walker():
    wc = walker_creator()
    for column in range(7):  # a caterpillar: two rows of joints, numbered 0, 1, 2, ... as they are added
        wc.add_joint(3 * column, 0)
        wc.add_joint(3 * column, 3)
    for low in range(0, 14, 2):
        wc.add_muscle(low, low + 1)  # a plain muscle; the others swing: False, amplitude, phase
        if low < 12:
            wc.add_muscle(low, low + 2, False, 0.8, -0.5 * low)
            wc.add_muscle(low + 1, low + 3, False, 0.8, 3.0 - 0.5 * low)
            wc.add_muscle(low + 1, low + 2, False, 0.8, 3.0 - 0.5 * low)
            wc.add_muscle(low, low + 3)
    return wc.get_walker()
"""

env = sodarace_gym.RecordWalks(gym.make("Sodarace-Flat-v0", render_mode="rgb_array"), "videos")
observation, info = env.reset(seed=0)
observation, reward, terminated, truncated, info = env.step(PROGRAM)
env.close()  # writes the video
print(f"distance {reward:.1f}, error: {info['error_message']}")
