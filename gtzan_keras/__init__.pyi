from . import metrics as metrics
from . import models as models
from .audio import features as features
from .audio.decode import AudioError as AudioError
from .audio.decode import load_audio as load_audio
from .audio.spectrogram import SPECTROGRAM_SPECS as SPECTROGRAM_SPECS
from .audio.spectrogram import SpectrogramSpec as SpectrogramSpec
from .audio.spectrogram import log_mel as log_mel
from .audio.spectrogram import mel_image as mel_image
from .errors import GtzanKerasError as GtzanKerasError
from .store.hdf5 import SpectrogramStore as SpectrogramStore
from .store.hdf5 import open_store as open_store
from .store.preprocess import preprocess as preprocess
from .tracks import demo as demo
from .tracks import splits as splits
from .tracks.catalogue import load_tracks as load_tracks
from .tracks.catalogue import verify as verify
from .tracks.download import download as download
from .training.evaluate import evaluate as evaluate
from .training.fit import load_run as load_run
from .training.fit import train as train
from .training.folds import cross_validate as cross_validate

__version__: str
