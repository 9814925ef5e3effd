"""Networks and their mathematics, on Arrow batches that the caller opens.

Where do I go for ...?

==========================================  ====================================
which columns a network reads, and how      :mod:`models.features`
scaling statistics of a whole table         :mod:`models.scaling`
scaled rows, the shuffle buffer             :mod:`models.rows`
which values are hidden from the network    :mod:`models.masks`
sizes, masks, presets                       :mod:`models.config`
the network                                 :mod:`models.masked_autoencoder`
what is minimised                           :mod:`models.losses`
the training loop                           :mod:`models.fit`
a trained model on disk                     :mod:`models.bundle`
predictions for one partition               :mod:`models.predict`
GPU or CPU, and threads                     :mod:`models.device`
==========================================  ====================================

A model goes through the modules in that order: ``gaia_features`` -> ``statistics`` (per partition)
-> ``merge`` -> ``finish`` -> ``fit`` -> ``save`` -> ``load`` -> ``predict_partition``.

The package knows neither schedulers nor the lake's paths. Importing it imports no submodule, so
that ``import models`` stays free of torch.
"""
