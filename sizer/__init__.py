"""sizer: will it fit, and how fast?"""
