"""Drop-in twins: other programs' functions, computed by nlm. Change one import line.

What their parameters are here, sigma and h as fractions of full scale, s = patch_size:

======================  ==========================  ==========================
nlm                     scikit-image                OpenCV
======================  ==========================  ==========================
patch_size              patch_size                  templateWindowSize
search_radius           patch_distance              searchWindowSize // 2
strength * sigma        slow mode: h; fast mode:    h / 255
                        h * (s/(s-1))**(axes/2)
sigma                   sigma                       0
aggregate=False         always                      always
temporal window         -                           temporalWindowSize
======================  ==========================  ==========================

Of ffmpeg's nlmeans, p is patch_size and r is 2 * search_radius + 1; of KNLMeansCL, 2 s + 1 is
patch_size, a is search_radius and rclip is guide. Where results differ is told by
`nlm.compat.skimage` and `nlm.compat.opencv`.
"""
