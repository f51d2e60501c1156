"""Drop-in twins: other programs' functions, computed by nlm. Change one import line.

What their parameters are here (sigma and h as fractions of full scale, s = patch side):

==========================  =====================  ===============  ==============================
nlm                         scikit-image           OpenCV           ffmpeg, KNLMeansCL
==========================  =====================  ===============  ==============================
patch_size                  patch_size             template-        p; 2 s + 1
                                                   WindowSize
search_radius               patch_distance         searchWindow-    r = 2 radius + 1; a
                                                   Size // 2
strength * sigma (= h)      fast mode: h * (s/     h / 255          s / 255 * sqrt(10) (about);
                            (s-1))**(axes/2);                       h / 255
                            slow mode: h
sigma                       sigma                  0                0
aggregate=False             always                 always           always
temporal_radius             -                      temporalWindow-  -; d
                                                   Size // 2
guide                       -                      -                -; rclip
==========================  =====================  ===============  ==============================

`nlm.compat.skimage` and `nlm.compat.opencv` say where results differ.
"""
