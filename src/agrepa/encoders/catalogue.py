"""Which pinned archives each encoder is loaded from, in the order in which it reads them."""

ARCHIVES = {
    "whisper": ("whisper_base_1", "whisper_base_2"),
    "yamnet": ("yamnet",),
    "aisfx": ("aisfx",),
}
