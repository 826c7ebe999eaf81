"""Workers do not get the driver's folders, which Ray would put on their path."""

from __future__ import annotations

import inspect

import ray
from ray.job_config import JobConfig

from sweeper.execution.ray_private import _FOLDERS, own_folders_alone
from tests.faults.rig import ROOT


def test_workers_get_no_folder_of_the_driver_but_the_one_that_sweeper_is_in(tmp_path):
    config = own_folders_alone()
    getattr(config, _FOLDERS).extend([str(tmp_path), str(ROOT), "/usr/bin"])
    assert list(config._get_proto_job_config().py_driver_sys_path) == [str(ROOT)]


def test_this_version_of_ray_keeps_the_folders_where_it_is_told_not_to():
    assert isinstance(getattr(JobConfig(), _FOLDERS), list)
    assert f"job_config.{_FOLDERS}.extend(" in inspect.getsource(ray._private.worker)


def test_version_of_ray_that_keeps_them_elsewhere_is_left_as_it_is(monkeypatch):
    init = JobConfig.__init__

    def other(self, *args, **options):
        init(self, *args, **options)
        del self._py_driver_sys_path

    monkeypatch.setattr(JobConfig, "__init__", other)
    assert not hasattr(own_folders_alone(), _FOLDERS)
