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
the two files of any model's folder         :mod:`models.document`
==========================================  ====================================

A model goes through the modules in that order: ``gaia_features`` -> ``statistics`` (per partition)
-> ``merge`` -> ``finish`` -> ``fit`` -> ``save`` -> ``load`` -> ``predict_partition``.

Labels of one survey on the base of another:

==========================================  ====================================
which tables, labels and cuts               :mod:`models.translation`
sizes, training, presets                    :mod:`models.translator_config`
labels, colours and errors from a table     :mod:`models.translator_rows`
who trains, who chooses and who judges      :mod:`models.translation_split`
which common stars teach, and what          :mod:`models.translator_stars`
the networks                                :mod:`models.spectro_translator`
the training loop of one network            :mod:`models.translator_member`
both ensembles                              :mod:`models.translator_fit`
a trained translation, its corrections      :mod:`models.translator`
the Monte Carlo over the errors             :mod:`models.translator_noise`
what pays, and systematic errors            :mod:`models.translator_calibration`
how wide percentiles are                    :mod:`models.translator_widths`
how far a star is from the training         :mod:`models.domain`
a quadratic correction where stars are few  :mod:`models.translator_quadratic`
a translated table                          :mod:`models.translator_predict`
a trained translation on disk               :mod:`models.translator_bundle`
doing nothing, and a quadratic ridge        :mod:`models.baselines`
what each method says of the test split     :mod:`models.translation_judges`
how good a translation is                   :mod:`models.translation_quality`
which inputs it lives on                    :mod:`models.importance`
==========================================  ====================================

``train`` -> ``save`` -> ``load`` -> ``translate``.

The package knows neither schedulers nor the lake's paths. Importing it imports no submodule, so
that ``import models`` stays free of torch.
"""
